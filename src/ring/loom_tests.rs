//! Models of the ring's protocols, explored by loom.
