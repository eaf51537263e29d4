//! The AIDL contract of the DMA-BUF loader, as Rust.
