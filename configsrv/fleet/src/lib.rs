//! The fleet model: YAML, validation, compile, signed artifacts; pure.
