//! What a run recorded, and the forms in which it is reported.

pub(crate) mod agents;
pub(crate) mod assertion;
pub(crate) mod bars;
pub(crate) mod buckets;
pub(crate) mod csv;
pub(crate) mod drift;
pub(crate) mod environment;
pub(crate) mod figures;
pub(crate) mod files;
pub(crate) mod frequency;
pub(crate) mod html;
pub(crate) mod intervals;
mod junit;
pub(crate) mod latency;
mod markdown;
pub(crate) mod plain;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod series;
pub(crate) mod steal;
pub(crate) mod text;
mod textfile;
pub(crate) mod urls;
