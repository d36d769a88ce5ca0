//! Operator. 
fn main() {}
