//! Accounts as the operator makes them, from the command line.
