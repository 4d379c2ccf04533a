import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { removeFolder } from '../../lib/remove-folder.ts'

/** For a command of a check: the run whose first check has made the home, and whether this is that check. */
export type CheckHomeOf = { readonly run: string; readonly makes: boolean }

/** The home of a command of a check, as folders of the host. */
export type CheckHome = {
  readonly home: string
  /** Where its changes go, which are removed with the command; null: into the home itself, which this check makes. */
  readonly layer: { readonly changes: string; readonly work: string } | null
}

/** A home for one command, and what must be done when that has ended: by itself, or in another way. */
type Lent = {
  readonly checkHome: CheckHome | null
  readonly done: (exited: boolean) => Promise<void>
}

const EMPTY: Lent = { checkHome: null, done: async () => {} }

/** What a machine that lost its power has left of a home may be damaged, so a home counts until the machine restarts. */
const BOOT = (() => {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
  } catch {
    return null
  }
})()

/**
 * The homes that the first checks of runs have left, before their agents did anything: caches of compilers and packages,
 * in the home of the command. Every later check begins with the same home, and what it writes is in a layer above it.
 */
export class CheckHomes {
  readonly #folder: string
  /** The runs whose home is being made by this process. What a crash left of a home is removed, and the check repeated. */
  readonly #making = new Set<string>()

  /** @param folder of the homes of all runs */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Never rejects: if a home cannot be lent, the command gets an empty one. */
  lend({ run, makes }: CheckHomeOf): Promise<Lent> {
    return (makes ? this.#make(run) : this.#layer(run)).catch(() => EMPTY)
  }

  forget(run: string): void {
    this.#making.delete(run)
  }

  async #make(run: string): Promise<Lent> {
    const { above, home, made } = this.#placesOf(run)
    if (!this.#making.has(run)) await removeFolder(above)
    this.#making.add(run)
    await rm(made, { force: true })
    await mkdir(above, { recursive: true, mode: 0o711 })
    const checkHome = { home, layer: null }
    const done = async (exited: boolean): Promise<void> => {
      // What was stopped may have left half of a file, or as much as a home may hold.
      await (exited && BOOT !== null ? writeFile(made, BOOT) : remove(home)).catch(() => {})
    }
    return { checkHome, done }
  }

  async #layer(run: string): Promise<Lent> {
    const { above, home, made } = this.#placesOf(run)
    const boot = await readFile(made, 'utf8').catch(() => null)
    if (boot === null || boot !== BOOT) return EMPTY
    const layer = join(above, `layer-${randomUUID()}`)
    const [changes, work] = [join(layer, 'changes'), join(layer, 'work')]
    for (const path of [layer, work, changes]) await mkdir(path, { mode: 0o700 })
    return { checkHome: { home, layer: { changes, work } }, done: () => remove(layer) }
  }

  #placesOf(run: string) {
    const above = join(this.#folder, run, 'checks')
    return { above, home: join(above, 'home'), made: join(above, 'made') }
  }
}

/** Never rejects: the end of the run removes what is left. */
const remove = (path: string): Promise<void> => removeFolder(path).catch(() => {})
