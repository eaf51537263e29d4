//! AOSP libbinder_rs names over rsbinder, for Cargo builds.
