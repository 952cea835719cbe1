//! The web pages: what a person sees of an account, and changes there.
//!
//! Pages are made on the server and work without JavaScript. HTTP ends here as it does in `api`, of which these
//! pages know nothing; nor do they know sled.

pub mod frame;
