//! tidegate-fanout
