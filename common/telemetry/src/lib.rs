//! Logging set-up and the metrics registry.
