import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { removeFolder } from '../lib/remove-folder.ts'
import type { CheckHome } from './sandbox.ts'

/** For a command of a check: the run whose first check has made the home, and whether this is that check. */
export type CheckHomeOf = { readonly run: string; readonly makes: boolean }

/** A home for one command, and what must be done when that has ended: by itself, or in another way. */
type Lent = {
  readonly checkHome: CheckHome | null
  readonly done: (exited: boolean) => Promise<void>
}

const EMPTY: Lent = { checkHome: null, done: async () => {} }

/**
 * The homes that the first checks of runs have left, before their agents did anything: caches of compilers and packages,
 * in the home of the command. Every later check begins with the same home, and what it writes is in a layer above it.
 */
export class CheckHomes {
  readonly #folder: string
  /** The runs whose first check this process has begun, and whether its home is whole: what a crash left of one is not used. */
  readonly #homes = new Map<string, boolean>()

  /** @param folder of the homes of all runs */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Never rejects: if a home cannot be lent, the command gets an empty one. */
  lend({ run, makes }: CheckHomeOf): Promise<Lent> {
    return (makes ? this.#make(run) : this.#layer(run)).catch(() => EMPTY)
  }

  forget(run: string): void {
    this.#homes.delete(run)
  }

  async #make(run: string): Promise<Lent> {
    const above = join(this.#folder, run, 'checks')
    const home = join(above, 'home')
    if (!this.#homes.has(run)) await removeFolder(above)
    this.#homes.set(run, false)
    await mkdir(above, { recursive: true, mode: 0o711 })
    const done = async (exited: boolean): Promise<void> => {
      // What was stopped may have left half of a file, or as much as a home may hold.
      if (exited) this.#homes.set(run, true)
      else await remove(home)
    }
    return { checkHome: { home, layer: null }, done }
  }

  async #layer(run: string): Promise<Lent> {
    if (this.#homes.get(run) !== true) return EMPTY
    const above = join(this.#folder, run, 'checks')
    const layer = join(above, `layer-${randomUUID()}`)
    const [changes, work] = [join(layer, 'changes'), join(layer, 'work')]
    for (const path of [layer, work, changes]) await mkdir(path, { mode: 0o700 })
    const checkHome = { home: join(above, 'home'), layer: { changes, work } }
    return { checkHome, done: () => remove(layer) }
  }
}

/** Never rejects: the end of the run removes what is left. */
const remove = (path: string): Promise<void> => removeFolder(path).catch(() => {})
