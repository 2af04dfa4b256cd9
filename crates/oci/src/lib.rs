//! Reads images from registries, layouts and archives into the store
