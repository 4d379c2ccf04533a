import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { SpecWitness } from '../support/spec-witness.ts'
import type { Random } from './random.ts'

const SLOW_MS = 2_000

/**
 * Two witnesses of all servers. One is written from the specification, and must never be shown two histories. The other
 * one lies, is slow or away.
 */
export class ChaosWitnesses {
  readonly settings: Readonly<Record<string, string>>
  readonly #honest: SpecWitness
  readonly #liar: SpecWitness

  private constructor(file: string, honest: SpecWitness, liar: SpecWitness) {
    this.settings = { RETRAI_WITNESSES: file }
    this.#honest = honest
    this.#liar = liar
  }

  /** @param urls of the servers that listen now */
  static async open(
    folder: string,
    random: Random,
    urls: () => readonly string[],
  ): Promise<ChaosWitnesses> {
    const honest = await SpecWitness.open('honest')
    const liar = await SpecWitness.open('liar')
    honest.lie = async (answer) => {
      honest.logs = [...new Set([...honest.logs, ...(await keysOf(urls()))])]
      return answer()
    }
    liar.lie = async () => {
      const lies = [
        { status: 500, body: 'no' },
        { status: 200, body: randomBytes(200).toString('latin1') },
        { status: 200, body: liar.cosign('another text\n') },
        { status: 409, body: '999999\n', type: 'text/x.tlog.size' },
        { status: 422, body: 'not consistent' },
      ]
      if (random.chance(0.3)) await delay(SLOW_MS)
      return random.pick(lies)
    }
    const file = join(folder, 'witnesses.json')
    const witnesses = [honest, liar].map(({ key, url }) => ({ key, url }))
    await writeFile(file, JSON.stringify({ quorum: 1, witnesses }))
    return new ChaosWitnesses(file, honest, liar)
  }

  get complaints(): readonly string[] {
    const { inconsistent } = this.#honest
    return inconsistent.map((origin) => `a witness was shown two histories of ${origin}`)
  }

  /** How many trees the honest one has signed. */
  get signed(): number {
    return this.#honest.signed
  }

  async close(): Promise<void> {
    await Promise.all([this.#honest.close(), this.#liar.close()])
  }
}

/** The keys of the logs of servers. One that is being killed does not answer. */
async function keysOf(urls: readonly string[]): Promise<string[]> {
  const keys = urls.map(async (url) => {
    const answer = await fetch(`${url}/api/log/key`).catch(() => null)
    return answer?.ok ? [(await answer.text()).trim()] : []
  })
  return (await Promise.all(keys)).flat()
}
