import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { present } from '../../domain/present.ts'
import type { Place } from '../../workspace/answers.ts'
import { changeFiles } from './change-files.ts'
import { readText, type TextFile } from './file-patch.ts'
import { failedBy } from './path-problem.ts'
import { changedLines } from './show-lines.ts'
import { defineTool, failed, succeeded, type ToolContext, type ToolOutput } from './tool.ts'
import { applyParts, type PatchedFile, parsePatch } from './v4a-patch.ts'

/** A file as it will be. */
type Draft = {
  readonly path: Place
  /** As it is now, if that was read. */
  readonly before: TextFile | null
  /** Null if it is to be deleted. */
  readonly content: string | null
  readonly mode?: number
}

/** The files that a patch changes, as they will be, before any of them is touched. Errors are results of the call. */
class Drafts {
  readonly #context: ToolContext
  readonly #drafts = new Map<string, Draft>()
  readonly said: string[] = []

  constructor(context: ToolContext) {
    this.#context = context
  }

  get all(): readonly Draft[] {
    return [...this.#drafts.values()]
  }

  async apply(file: PatchedFile): Promise<Result<void, ToolOutput>> {
    const confined = await this.#place(file.path)
    if (confined.isErr()) return err(confined.error)
    const path = confined.value
    switch (file.type) {
      case 'add': {
        const created = await this.#create(path, file.content)
        if (created.isOk()) this.said.push(`A ${path.shown}`)
        return created
      }
      case 'delete': {
        const read = await this.#read(path)
        if (read.isErr()) return err(read.error)
        this.#drafts.set(path.real, { ...read.value, content: null })
        this.said.push(`D ${path.shown}`)
        return ok()
      }
      case 'update':
        return this.#update(path, file)
    }
  }

  async #update(
    path: Place,
    { to, parts }: Extract<PatchedFile, { type: 'update' }>,
  ): Promise<Result<void, ToolOutput>> {
    const read = await this.#read(path)
    if (read.isErr()) return err(read.error)
    const draft = read.value
    const before = draft.content ?? ''
    const patched = applyParts(path.shown, before, parts)
    if (patched.isErr()) return err(failed(patched.error))
    const { text, loosely } = patched.value
    const target = to === null ? ok(path) : await this.#place(to)
    if (target.isErr()) return err(target.error)
    if (target.value.real === path.real) {
      this.#drafts.set(path.real, { ...draft, content: text })
      this.said.push(`M ${path.shown}`)
    } else {
      const mode = draft.before === null ? {} : { mode: draft.before.mode }
      const made = await this.#create(target.value, text, mode)
      if (made.isErr()) return err(made.error)
      this.#drafts.set(path.real, { ...draft, content: null })
      this.said.push(`R ${path.shown} → ${target.value.shown}`)
    }
    if (loosely.length > 0) {
      const where = `${loosely.length === 1 ? 'line' : 'lines'} ${loosely.join(', ')}`
      this.said.push(
        `  At ${where}, the file differed from the patch in spaces; the new lines were indented like it:`,
        changedLines(before, text),
      )
    }
    return ok()
  }

  async #place(path: string): Promise<Result<Place, ToolOutput>> {
    if (path.includes('\0')) return err(failed('A path must not contain a NUL character.'))
    const asked = { paths: [path], isToWrite: true }
    const found = await this.#context.workspace.ask('resolve', asked)
    if (found.isErr()) return err(failedBy(path, found.error))
    const [place = { problem: { type: 'not_found' } }] = found.value.places
    return 'problem' in place ? err(failedBy(path, place)) : ok(place)
  }

  /** A file that is there, or will be. */
  async #read(path: Place): Promise<Result<Draft, ToolOutput>> {
    const known = this.#drafts.get(path.real)
    if (known?.content === null)
      return err(failed(`${path.shown} is deleted earlier in the patch.`))
    if (known !== undefined) return ok(known)
    const read = await readText(path.shown, this.#context)
    return read.map((before) => ({ path, before, content: before.text }))
  }

  async #create(
    path: Place,
    content: string,
    mode: Pick<Draft, 'mode'> = {},
  ): Promise<Result<void, ToolOutput>> {
    const known = this.#drafts.get(path.real)
    const exists = known === undefined ? path.kind !== 'nothing' : known.content !== null
    if (exists) {
      const problem = `${path.shown} exists already. Use "*** Update File:" to change it.`
      return err(failed(problem))
    }
    this.#drafts.set(path.real, { before: null, ...known, path, content, ...mode })
    return ok()
  }
}

const pathsOf = (file: PatchedFile): string[] =>
  file.type === 'update' && file.to !== null ? [file.path, file.to] : [file.path]

export const applyPatch = defineTool({
  name: 'apply_patch',
  description:
    'Change several files of the project by one patch, all of them or none. The format:\n' +
    '*** Begin Patch\n*** Update File: path\n*** Move to: new path (optional)\n@@ a line above, such as a class or function\n' +
    ' three lines of context\n-old line\n+new line\n three lines of context\n*** Add File: path\n+every line\n*** Delete File: path\n*** End Patch\n' +
    'Lines of context must be as they are in the file, and must identify the place.',
  readOnly: false,
  args: z.strictObject({
    input: z.string().min(1).describe('The patch, from *** Begin Patch to *** End Patch'),
  }),
  touches: ({ input }) => ({ paths: parsePatch(input).unwrapOr([]).flatMap(pathsOf) }),
  run: async ({ input }, context) => {
    const parsed = parsePatch(input)
    if (parsed.isErr()) return failed(`${parsed.error} Nothing was changed.`)
    const drafts = new Drafts(context)
    for (const file of parsed.value) {
      const applied = await drafts.apply(file)
      if (applied.isErr()) return withNote(applied.error)
    }
    const changes = drafts.all.filter(({ before, content }) => content !== (before?.text ?? null))
    if (changes.length === 0) return failed('The patch changes nothing.')
    const wanted = changes.map(({ path, before, content, ...mode }) => {
      return { path: path.shown, content, expected: before?.sha256 ?? null, ...present(mode) }
    })
    const changed = await changeFiles(wanted, context)
    if (changed.isOk()) return succeeded(`Done:\n${drafts.said.join('\n')}`)
    return withNote(failedBy('', changed.error))
  },
})

const withNote = (result: ToolOutput): ToolOutput =>
  result.outcome === 'unknown'
    ? result
    : { ...result, output: `${result.output}\nNo file was changed.` }
