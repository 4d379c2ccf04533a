import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { present } from '../domain/present.ts'
import type { RunCommand } from '../runner/command.ts'
import type { Project } from '../workspace/workspace.ts'

const PROGRAMS = 'node npm bun deno python3 uv go cargo rustc java make gcc git rg'
/** One line for each program that is installed: its name, and the first line that it prints about its version. */
const VERSIONS = `for program in ${PROGRAMS}; do
  command -v "$program" > /dev/null || continue
  case $program in go) flag=version ;; *) flag=--version ;; esac
  ("$program" $flag 2>&1 < /dev/null | head -1 | sed "s/^/$program: /") &
done; wait`
const MAX_BYTES = 8 * 1024
const WITHIN_MS = 10_000

/** Files by which a project, or a folder above it, chooses the version of a program. */
const CHOICES = [
  ...['.tool-versions', 'mise.toml', '.mise.toml', '.python-version', '.node-version', '.nvmrc'],
  ...[
    'package.json',
    'rust-toolchain',
    'rust-toolchain.toml',
    'go.mod',
    'go.work',
    '.java-version',
  ],
]

/** How long an answer is used for other projects, milliseconds. After that, somebody may have installed a program. */
const FRESH_MS = 60_000

type Seen = { readonly programs: Promise<string | null>; readonly until: number }

/**
 * The programs that commands find, with their versions. Each question starts every program once, so runs that begin soon
 * after each other share an answer if they would get the same one.
 */
export class InstalledPrograms {
  readonly #runCommand: RunCommand
  /** By what commands may see. */
  readonly #seen = new Map<string, Seen>()

  constructor(runCommand: RunCommand) {
    this.#runCommand = runCommand
  }

  /** Null if no program is found in time. */
  async seenFrom(project: Project, signal: AbortSignal): Promise<string | null> {
    if (choosesVersions(project.cwd)) return this.#ask(project, signal)
    const view = JSON.stringify(project.policy?.at_least ?? null)
    const seen = this.#seen.get(view)
    if (seen !== undefined && performance.now() < seen.until) {
      // The run that asked may have been aborted.
      return (await seen.programs) ?? (signal.aborted ? null : this.seenFrom(project, signal))
    }
    const programs = this.#ask(project, signal)
    const asked = { programs, until: performance.now() + FRESH_MS }
    this.#seen.set(view, asked)
    const found = await programs
    if (found === null && this.#seen.get(view) === asked) this.#seen.delete(view)
    return found
  }

  async #ask({ cwd, policy, folder }: Project, signal: AbortSignal): Promise<string | null> {
    const result = await this.#runCommand({
      file: 'bash',
      args: ['-c', VERSIONS],
      ...{ cwd, timeoutMs: WITHIN_MS, maxBytes: MAX_BYTES, signal },
      ...present({ atLeast: policy?.at_least, folder }),
    })
    const lines = result.stdout.split('\n').filter(Boolean).sort()
    return result.end === 'exited' && lines.length > 0 ? lines.join('\n') : null
  }
}

function choosesVersions(cwd: string): boolean {
  for (let folder = cwd; ; folder = dirname(folder)) {
    if (CHOICES.some((name) => existsSync(join(folder, name)))) return true
    if (dirname(folder) === folder) return false
  }
}
