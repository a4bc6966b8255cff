//! tidegate-loadtest
