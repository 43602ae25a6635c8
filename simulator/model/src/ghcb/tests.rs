//! Tests of GHCB requests and replies.
