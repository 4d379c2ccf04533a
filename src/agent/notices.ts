import type { Notice } from '../domain/records.ts'

/** Records what commands report while they run, in order and many at once if they come fast. */
export class Notices {
  readonly #record: (notices: readonly Notice[]) => Promise<unknown>
  #waiting: Notice[] = []
  #recording: Promise<void> | null = null

  /** @param record never rejects; if it fails, the next step of the run fails too */
  constructor(record: (notices: readonly Notice[]) => Promise<unknown>) {
    this.#record = record
  }

  readonly add = (notice: Notice): void => {
    this.#waiting.push(notice)
    this.#recording ??= this.#recordAll()
  }

  /** Resolves when everything that was reported is recorded. */
  async settled(): Promise<void> {
    await this.#recording
  }

  async #recordAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const notices = this.#waiting
      this.#waiting = []
      await this.#record(notices)
    }
    this.#recording = null
  }
}
