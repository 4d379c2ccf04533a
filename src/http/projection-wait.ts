/** How long the read model is waited for, until it shows what a client was told or is about to be, milliseconds. */
export const PROJECTION_WAIT_MS = 2000
