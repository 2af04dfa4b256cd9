//! The HTTP service on a unix socket by which a node is managed.
//!
//! Owns what is asked and answered, who may ask for what, and the limits of it. What a node does is behind [`Node`], and who may is
//! behind [`Permit`]: both are `rocketctl`'s. `docs/api.md` is its page, `docs/openapi.json` the description for programs.
//!
//! ```text
//! Inside::ask(call)          the same router without a socket, for who runs the node itself
//! Service::serve(listener)   connections, at most so many; ends when nobody comes
//!   router                   a request to its operation: may who asks? what is in it?
//!     operations             one table: the router serves it, openapi::document describes it
//!       Node                 settings, status, updates: what rocketctl does
//!     exec                   a connection that becomes a program's in a host container, by frames
//! ```

mod exec;
pub mod frames;
mod inside;
pub mod limits;
mod news;
pub mod node;
pub mod openapi;
mod operations;
mod patient;
mod problem;
mod router;
mod service;
mod terminal;
mod transactions;
pub mod wire;

pub use inside::Inside;
pub use node::{Access, Node, Peer, Permit};
pub use problem::{Kind, MEDIA_TYPE, Problem};
pub use service::Service;
