//! The right to answer one request.

use std::sync::Arc;

use super::line::Streaming;
use super::mailbox::{Mail, Mailbox, Place};
use super::outlet::Outlet;
use super::pipe::Pipe;
use super::stream::Stream;
use super::{Framing, Response};

/// What is to be run on a thread of its own.
pub type Job = Box<dyn FnOnce() + Send>;

/// Where an answer goes. The transport has its own; another engine, or a test, may have another.
pub trait Reply: Send {
    /// Sends the answer.
    fn send(self: Box<Self>, response: &Response);

    /// Sends an answer that is made meanwhile. When its turn has come, `run` is handed what is to be run
    /// by a thread that has nothing else to do; never, if nobody takes it any more.
    fn stream(self: Box<Self>, stream: Stream, run: Box<dyn FnOnce(Job) + Send>);
}

/// The right to answer one request, once, from any thread. Dropped without an answer it says 500,
/// so that no caller waits for ever.
pub struct Answer(Option<Box<dyn Reply>>);

impl Answer {
    /// Answers that go there.
    #[must_use]
    pub fn to(reply: impl Reply + 'static) -> Answer {
        Answer(Some(Box::new(reply)))
    }

    /// Sends the answer.
    pub fn send(mut self, response: &Response) {
        if let Some(reply) = self.0.take() {
            reply.send(response);
        }
    }

    /// Sends an answer that is made meanwhile. When its turn has come, `run` is handed what may take
    /// any time, to have it done by a thread that has nothing else to do. It must not wait.
    pub fn stream(mut self, stream: Stream, run: impl FnOnce(Job) + Send + 'static) {
        if let Some(reply) = self.0.take() {
            reply.stream(stream, Box::new(run));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply.send(&Response::new(500, "", Vec::new()));
        }
    }
}

/// Back to the connection that the request came from.
pub(super) struct Back {
    pub mailbox: Arc<Mailbox>,
    pub to: Place,
    pub framing: Framing,
}

impl Reply for Back {
    fn send(self: Box<Self>, response: &Response) {
        let (bytes, behind) = response.to_parts(self.framing);
        self.mailbox.put(Mail::Answer { to: self.to, bytes, behind });
    }

    fn stream(self: Box<Self>, stream: Stream, run: Box<dyn FnOnce(Job) + Send>) {
        let Back { mailbox, to, framing } = *self;
        let pipe = Arc::new(Pipe::default());
        let out = Outlet::new(Arc::clone(&pipe), Arc::clone(&mailbox), to.connection);
        let begin = Box::new(move || run(Box::new(move || stream.send(out, framing))));
        let streaming = Streaming { pipe, ends: !framing.chunks, begin: Some(begin) };
        mailbox.put(Mail::Stream { to, streaming });
    }
}
