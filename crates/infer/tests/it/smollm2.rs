//! A model that people use.
