//! The composefs object store
