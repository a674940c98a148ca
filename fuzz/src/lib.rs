//! What the fuzz targets share.

pub mod chunks;
pub mod drive;
pub mod expect;
pub mod framing;
pub mod lists;
pub mod peers;
pub mod script;
pub mod secrets;
pub mod seen;
