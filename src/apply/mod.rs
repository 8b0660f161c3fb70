//! Plan → the world, one journalled change at a time. Chooses nothing.
