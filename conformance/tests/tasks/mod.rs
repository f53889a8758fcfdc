//! Futures, looping calls, cooperation, coroutines and programs of one task, as far as a clock or a connection has to do with them. Their rules, in virtual time
//! alone, are checked beside the code: `core/src/task/tests`, `core/src/reactor/task/tests.rs`.

mod coroutines;
mod futures;
mod loops;
mod react;
