/** Seconds since the epoch, with a fraction: the clock of all records. */
export const now = (): number => Date.now() / 1000

export const date = (): Date => new Date()
