//! The one that all requests come to: programs' calls go to `api`, what people look at to `web`.

use std::sync::Arc;

use crate::api::Api;
use crate::http::{Answer, Fault, Handler, Request, Response};
use crate::web::Web;

/// Both, and the path that a proxy may have them under.
pub struct Front {
    /// Programs' calls.
    pub api: Arc<Api>,
    /// Pages.
    pub web: Web,
    /// What paths begin with, if the proxy doesn't take it off: empty, or as `/sub`.
    pub base: String,
}

impl Front {
    fn of(&self, request: &Request) -> &dyn Handler {
        if !Api::is_for(request) && Web::is_for(request) { &self.web } else { &*self.api }
    }
}

impl Handler for Front {
    fn handle(&self, request: Request, answer: Answer) {
        let request = request.below(&self.base);
        self.of(&request).handle(request, answer);
    }

    fn refuse(&self, fault: Fault, request: Option<&Request>) -> Response {
        match request.map(|request| request.clone().below(&self.base)) {
            Some(request) => self.of(&request).refuse(fault, Some(&request)),
            None => self.api.refuse(fault, None),
        }
    }
}
