import fc from 'fast-check'
import type { File, Files } from './support.ts'

/** Few, so that two projects have the same names, and files in one are folders in the other. */
const ODD_NAMES = [
  'a',
  'b',
  'a.b',
  'a-',
  'with space',
  ' spaces ',
  'tab\tq"uote\\',
  'new\nline',
  '-dash',
  '\xff\xfe\x01',
  'b\xc3\xa4r',
  'a b',
  '.hidden',
  '"',
  "'",
  '%',
  'dev',
  '\x7f',
]
const names = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...ODD_NAMES.slice(0, 4)) },
  { weight: 4, arbitrary: fc.constantFrom(...ODD_NAMES) },
  {
    weight: 1,
    arbitrary: fc.uint8Array({ minLength: 1, maxLength: 6 }).map((bytes) =>
      Buffer.from(bytes)
        .toString('latin1')
        .replace(/[\0/.~]/g, '_'),
    ),
  },
)
const paths = fc.array(names, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))

/** A text of forty lines in which some are others, missing or doubled, so that it has several hunks. */
const longTexts = fc.array(fc.tuple(fc.nat(39), fc.nat(3)), { maxLength: 6 }).map((edits) => {
  const lines = Array.from({ length: 40 }, (_, at) => `line ${at % 7}\n`)
  for (const [at, kind] of edits)
    lines[at] = ['', 'other\r\n', `${lines[at]}${lines[at]}`, '\xff--- a/b\n'][kind] ?? ''
  return Buffer.from(lines.join(''), 'latin1')
})
const shortTexts = fc
  .array(fc.constantFrom('a', 'b', '\n', '\r\n', '-', '+', '@@ -1 +1 @@', '\\', ' ', '\t'), {
    maxLength: 12,
  })
  .map((parts) => Buffer.from(parts.join('')))
const binaries = fc
  .tuple(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0, 1, 60))
  .map(([bytes, times]) => Buffer.concat([Buffer.alloc(1), ...Array(times).fill(bytes)]))
const contents = fc.oneof(
  fc.constantFrom(Buffer.from(''), Buffer.from('same\n'), Buffer.from('no end')),
  longTexts,
  shortTexts,
  binaries,
  fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
)

/** No link refers to itself: `git apply` does not look past such a link, so it makes no folder of it. */
const files: fc.Arbitrary<File> = fc.oneof(
  { weight: 4, arbitrary: contents.map((content) => ({ mode: '100644' as const, content })) },
  { weight: 1, arbitrary: contents.map((content) => ({ mode: '100755' as const, content })) },
  {
    weight: 1,
    arbitrary: fc
      .oneof(
        names.map((name) => `to ${name}`),
        fc.constantFrom('.', '..', '../no', 'two\nlines\n'),
      )
      .map((target) => ({ mode: '120000' as const, content: Buffer.from(target, 'latin1') })),
  },
)

/** The files of a project: where a path is that of a file, no other is in it. */
const projects: fc.Arbitrary<Files> = fc
  .array(fc.tuple(paths, files), { maxLength: 14 })
  .map((all) => without(new Map(), all))

function without(kept: Map<string, File>, all: readonly (readonly [string, File])[]): Files {
  for (const [path, file] of all) {
    const isInTheWay = (other: string): boolean =>
      other.startsWith(`${path}/`) || path.startsWith(`${other}/`)
    if (![...kept.keys()].some(isInTheWay)) kept.set(path, file)
  }
  return kept
}

/** Two projects: nothing in common but names, or the second made of the first by moves, removals and additions. */
export const twoProjects: fc.Arbitrary<readonly [Files, Files]> = fc
  .tuple(projects, projects, fc.infiniteStream(fc.nat(5)), fc.infiniteStream(paths))
  .map(([before, other, choices, places]) => {
    const moved = [...before].flatMap(([path, file]): [string, File][] => {
      const choice = choices.next().value
      if (choice === 0) return []
      if (choice === 1) return [[places.next().value ?? path, file]]
      if (choice === 2 && file.mode !== '120000')
        return [[path, { ...file, mode: file.mode === '100644' ? '100755' : '100644' }]]
      return [[path, file]]
    })
    return [before, without(new Map(), [...moved, ...[...other].slice(0, choices.next().value)])]
  })
