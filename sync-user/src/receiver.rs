//! Serves one source: reads its frames, applies its steps, answers with receipts.
