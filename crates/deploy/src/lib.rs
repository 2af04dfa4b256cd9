//! Stages, rolls back, pins, prunes and installs deployments
