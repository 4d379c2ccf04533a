import type { StartProcess } from '../runner/start-process.ts'
import { type OpenWorkspace, type Project, Workspace } from './workspace.ts'

/** How long a program waits for the next look at its project, milliseconds: who starts one run often starts several. */
const KEPT_MS = 10_000
const MOST_KEPT = 8

/** A workspace that several looks share. Its program ends a while after the last of them. */
class KeptWorkspace extends Workspace {
  #users = 0
  #timer: NodeJS.Timeout | undefined
  readonly #onEnd: () => void

  constructor(project: Project, startProcess: StartProcess, onEnd: () => void) {
    super(project, startProcess)
    this.#onEnd = onEnd
  }

  get isIdle(): boolean {
    return this.#users === 0
  }

  use(): this {
    clearTimeout(this.#timer)
    this.#users += 1
    return this
  }

  async end(): Promise<void> {
    clearTimeout(this.#timer)
    this.#onEnd()
    await super[Symbol.asyncDispose]()
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#users -= 1
    if (this.isIdle) this.#timer = setTimeout(() => void this.end(), KEPT_MS).unref()
  }
}

/** Opens workspaces for looks at projects before there is a run. Looks at the same known folder share a program. */
export function keptWorkspaces(startProcess: StartProcess): OpenWorkspace {
  const kept = new Map<string, KeptWorkspace>()
  return (project) => {
    if (project.folder === undefined) return new Workspace(project, startProcess)
    const key = JSON.stringify([project.cwd, project.policy?.at_least, project.folder])
    const known = kept.get(key)
    if (known !== undefined) return known.use()
    const made = new KeptWorkspace(project, startProcess, () => {
      if (kept.get(key) === made) kept.delete(key)
    })
    const oldest = kept.values().find(({ isIdle }) => isIdle)
    if (kept.size >= MOST_KEPT) void oldest?.end()
    kept.set(key, made)
    return made.use()
  }
}
