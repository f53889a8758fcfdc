//! Whole programs on marline: see README.md for the reading order.
#![forbid(unsafe_code)]
