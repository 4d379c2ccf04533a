import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { argv, exit } from 'node:process'
import * as z from 'zod'

/**
 * `npm run check` compares the size of the project with its budget, `budget.json`. Raising a number there is an ADR that says
 * what goes instead. With `--print`, it prints what is used now.
 */
const Room = z.strictObject({ lines: z.int(), files: z.int() })
const Budget = z.strictObject({
  /** Of each room in `src`. */
  rooms: z.record(z.string(), Room),
  src: Room,
  /** Lines of TypeScript in `web/src` and in `test`. */
  web: z.int(),
  test: z.int(),
  /** Words of all Markdown files: what has a letter or a digit in it, so the lines of a table are none. */
  words: z.int(),
  /** Names in `src/server/settings.ts`: the keys of vendors count as one, and so do those of AWS. */
  settings: z.int(),
  /** Different long options of all commands. */
  flags: z.int(),
  /** Per cent of the files in `src` that exactly one other file imports. */
  single_importers: z.number(),
  /** How many rooms, the console and the benches among them, stand one above another: each above all that it imports. */
  floors: z.int(),
})
type Budget = z.infer<typeof Budget>

const read = (file: string): string => readFileSync(file, 'utf8')
const linesOf = (file: string): number => read(file).split('\n').length - 1
const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0)
const sizeOf = (files: readonly string[]) => ({
  lines: sum(files.map(linesOf)),
  files: files.length,
})

/** The files of the project, as git lists them: what is not added yet counts, and what is ignored does not. */
function filesOf(...patterns: string[]): string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '--']
  const listed = execFileSync('git', [...args, ...patterns], { encoding: 'utf8' })
  const deleted = execFileSync('git', ['ls-files', '--deleted', '--', ...patterns], {
    encoding: 'utf8',
  })
  const gone = new Set(deleted.split('\n'))
  return listed.split('\n').filter((file) => file !== '' && !gone.has(file))
}

function settingsCount(): number {
  const [, rows = ''] =
    /Settings = z\.strictObject\(\{(.*?)^\}\)/ms.exec(read('src/server/settings.ts')) ?? []
  const names = [...rows.matchAll(/^ {2}([A-Z][A-Z_]+):/gm)].map(([, name = '']) => name)
  return new Set(names.map((name) => name.replace(/^AWS_.*$|^.*(?=_API_KEY$)/, 'one'))).size
}

function flagsCount(): number {
  const names = filesOf('src/cli/**').flatMap((file) =>
    [...read(file).matchAll(/'(?:-[a-z], )?(--[a-z-]+)/g)].map(([, name]) => name),
  )
  return new Set(names).size
}

/** The files that a file imports by their paths. */
const importsOf = (file: string): string[] =>
  [...read(file).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, path = '']) =>
    join(dirname(file), path),
  )

function singleImporters(files: readonly string[]): number {
  const importers = new Map(files.map((file) => [file, new Set<string>()]))
  for (const file of files) for (const path of importsOf(file)) importers.get(path)?.add(file)
  const single = [...importers.values()].filter(({ size }) => size === 1).length
  return Math.round((single / files.length) * 1000) / 10
}

/** The room of a file: a folder in `src`, or one beside it. */
const roomOf = (file: string): string => /^(?:src\/)?([^/]+)\//.exec(file)?.[1] ?? ''

function floors(files: readonly string[]): number {
  const below = new Map<string, Set<string>>()
  for (const file of files) {
    const room = roomOf(file)
    const rooms = below.get(room) ?? new Set()
    for (const path of importsOf(file)) if (roomOf(path) !== room) rooms.add(roomOf(path))
    below.set(room, rooms)
  }
  const heights = new Map<string, number>()
  const heightOf = (room: string): number => {
    const known = heights.get(room)
    if (known !== undefined) return known
    const height = 1 + Math.max(0, ...[...(below.get(room) ?? [])].map(heightOf))
    heights.set(room, height)
    return height
  }
  return Math.max(...[...below.keys()].map(heightOf))
}

function used(): Budget {
  const src = filesOf('src/**/*.ts')
  const rooms = Object.groupBy(src, (file) => file.split('/')[1] ?? '')
  return {
    rooms: Object.fromEntries(
      Object.entries(rooms).map(([room, files = []]) => [room, sizeOf(files)]),
    ),
    src: sizeOf(src),
    web: sizeOf(filesOf('web/src/**/*.ts', 'web/src/**/*.tsx')).lines,
    test: sizeOf(filesOf('test/**/*.ts')).lines,
    words: sum(
      filesOf('*.md', '**/*.md').map(
        (file) => read(file).match(/\S*[\p{L}\p{N}]\S*/gu)?.length ?? 0,
      ),
    ),
    settings: settingsCount(),
    flags: flagsCount(),
    single_importers: singleImporters(src),
    floors: floors([...src, ...filesOf('web/src/**/*.ts', 'web/src/**/*.tsx', 'bench/**/*.ts')]),
  }
}

/** Each number of the budget by its path, such as `rooms.store.lines`. */
const numbersOf = (value: object, path = ''): [string, number][] =>
  Object.entries(value).flatMap(([name, inner]) =>
    typeof inner === 'number' ? [[path + name, inner]] : numbersOf(inner, `${path}${name}.`),
  )

const now = used()
if (argv.includes('--print')) console.log(JSON.stringify(now, null, 2))
const allowed = new Map(numbersOf(Budget.parse(JSON.parse(read('budget.json')))))
const over = numbersOf(now).filter(([path, number]) => number > (allowed.get(path) ?? 0))
for (const [path, number] of over) {
  console.error(`budget.json allows ${path} ${allowed.get(path) ?? 0}, and it is ${number}.`)
}
if (over.length > 0) exit(1)
