//! The nouns of Rocket OS: digests, references, deployments, boot entries and every on-disk path
