//! Whole stores in temporary folders.
