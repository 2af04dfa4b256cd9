//! Each check against a small tree that lacks just that.
