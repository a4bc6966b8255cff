//! tidegate-federation
