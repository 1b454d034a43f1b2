//! stub
pub(super) fn print_table(_: &super::flags::Run, _: &crate::daemon::Started, _: &crate::daemon::Gauges) {}
