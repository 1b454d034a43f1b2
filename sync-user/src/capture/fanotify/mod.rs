//! Sees changes by one fanotify mark on the file system.
