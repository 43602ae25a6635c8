//! What is in a file, in words.
