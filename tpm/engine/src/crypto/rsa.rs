//! Placeholder until the arithmetic lands.

/// A private key.
#[derive(Clone)]
pub struct PrivateKey;
