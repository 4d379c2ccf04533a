/** Of one message of a server. */
export const MESSAGE_BYTES = 8 * 1024 * 1024
/** Of all that a server sends for one request of ours, and between two. */
const ALLOWED_BYTES = 4 * MESSAGE_BYTES

/** What a server may still send before something is asked of it again. */
export class Allowance {
  #left = ALLOWED_BYTES

  /** Something is asked of the server. */
  renew(): void {
    this.#left = ALLOWED_BYTES
  }

  /** False if the server has sent too much. */
  take(bytes: number): boolean {
    this.#left -= bytes
    return this.#left >= 0
  }
}
