//! The client API through the real router, with a database per test, the table queue, timelines
//! in process, and a delivery role that serves what the test put there.

mod accounts;
mod admin;
mod delivery;
mod encodings;
mod every_route;
mod forged;
mod home;
mod hostile;
mod lists;
mod matrix;
mod operators;
mod posting;
mod search;
mod shapes;
mod stage;
mod table;
mod traces;
mod visibility;
mod world;
mod writes;
