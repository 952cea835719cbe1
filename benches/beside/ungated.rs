//! The server without its gate: clients reach tiny_http itself, and everything behind it is the same.
//!
//! What the gate costs, or gains, is told by the two side by side.

use std::io::{self, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use triggerly::api::{Api, Rooms};
use triggerly::app::Opened;
use triggerly::asking::{Desk, Waiting};
use triggerly::client::Proxies;
use triggerly::commands;
use triggerly::door::Door;
use triggerly::http::{
    self, Answer, Framing, Handler, Job, Method, Reply, Request, Response, Stream,
};
use triggerly::jobs::Jobs;
use triggerly::rate;
use triggerly::store::Directory;

/// Where an answer goes: straight to the client, from whichever thread has it.
struct Direct(tiny_http::Request);

impl Reply for Direct {
    fn send(self: Box<Self>, response: &Response) {
        let framing = Framing { head: false, connection: None, chunks: true };
        let mut out = self.0.into_writer();
        // A client that has gone needs no answer.
        let _ = out.write_all(&response.to_bytes(framing)).and_then(|()| out.flush());
    }

    fn stream(self: Box<Self>, _: Stream, _: Box<dyn FnOnce(Job) + Send>) {
        unreachable!("nothing is exported here");
    }
}

/// Serves a store of its own until standard input ends.
pub fn serve(data: &Path, workers: usize) -> ! {
    let opened = Opened::open(Directory::lock(data).expect("a folder")).expect("a store");
    let account = commands::add(&opened.context(), "default").expect("an account");
    let api = Arc::new(Api::new(Rooms {
        store: Arc::clone(&opened.store),
        writer: Arc::clone(&opened.writer),
        desk: Desk { jobs: Arc::new(Jobs::start().expect("threads")), stopping: Arc::default() },
        waiting: Arc::new(Waiting::start(&opened.store).expect("a thread")),
        figures: Arc::default(),
        exports: Arc::new(Jobs::start_exports().expect("threads")),
        refused: Arc::clone(&opened.refused),
        door: Arc::new(Door::new(
            Proxies::default(),
            rate::Limits { address: None, account: None },
            Arc::default(),
        )),
        transport: Arc::new(http::Figures::default()),
    }));
    let engine = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a port"));
    let address = engine.server_addr().to_ip().expect("an address");
    for _ in 0..workers {
        let (engine, api) = (Arc::clone(&engine), Arc::clone(&api));
        thread::spawn(move || {
            while let Ok(request) = engine.recv() {
                let mut whole = Request::new(Method::Get, request.url());
                for header in request.headers() {
                    whole =
                        whole.with_header(header.field.as_str().as_str(), header.value.as_str());
                }
                api.handle(whole, Answer::to(Direct(request)));
            }
        });
    }
    // Of connections that are opened at once the engine leaves some without a thread, until another comes.
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(50));
            let _ = TcpStream::connect(address).and_then(|_| TcpStream::connect(address));
        }
    });
    println!("api_token={}\nlistening on http://{address}", account.api_token);
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    std::process::exit(0)
}
