//! Settings: what a node is to be.
//!
//! Owns the model, what layers come to together, what documents say, and what is stored. It is pure but for files of image and kernel and the folder of generations: facts, user
//! data and the time are handed in, and whoever calls it renders and applies. `docs/settings.md` is its page.
//!
//! ```text
//! Layers::of_image(root)      files of image and variant
//!   .add(tree, who)           user data, overrides: each above those before; facts::Found::add_to before them
//!   .resolve() -> Effective   one tree, typed settings, who set each key; or everything that is wrong
//! in_force(layers, history)   what a node boots with: the newest that is sound
//! provider::collect, ::take    who hands in documents, which of them count
//! userdata::parse(bytes)      a document: its tree, the line of each key, what it includes
//! store::Store                what is stored, in generations: commit, history, undo, diff
//! render::render(s, facts)    files, and who is told of each; nothing is written
//! plan::plan(...)             what differs from what is in place: files to write and to remove, who is told
//! migrate::carry, ::replay    what is stored, in another deployment
//! bootstrap::Bootstrap        what is done once settings are in place, and what of it was done before
//! Schema::get()               unknown names, secrets, descriptions: made from the types of `model`
//! ```

pub mod bootstrap;
pub mod facts;
mod in_force;
mod key;
mod layers;
pub mod migrate;
pub mod model;
pub mod pairs;
pub mod plan;
mod problem;
pub mod provider;
pub mod render;
mod schema;
mod secret;
mod set_by;
pub mod store;
mod tree;
pub mod userdata;

pub use in_force::{Choice, InForce, in_force};
pub use key::{KEY_BYTES, KEY_NAMES, Key, KeyError, NAME_BYTES, ROOT};
pub use layers::{Effective, FOLDER, LayerError, Layers, Shown};
pub use model::Settings;
pub use problem::{PROBLEMS, Problem, Problems};
pub use schema::{ELSEWHERE, Schema};
pub use secret::{SECRET_BYTES, SHOWN, Secret};
pub use set_by::SetBy;
pub use tree::{LEAVES, TREE_BYTES, Tree, TreeError, VALUE_DEPTH};
