//! The DMA-BUF loader service: AIDL on top of the engine.
