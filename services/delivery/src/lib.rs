//! tidegate-delivery
