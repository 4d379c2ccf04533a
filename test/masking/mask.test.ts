import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KINDS } from '../../src/masking/known-shapes.ts'
import { createMask, type Mask } from '../../src/masking/mask.ts'
import { expectLinearTime } from '../support/linear-time.ts'
import { FAKES, KEEPING, pem } from './fakes.ts'

const known = createMask([])
const fakes = Object.entries(FAKES).flatMap(([kind, all]) =>
  all.map((fake) => [kind, fake] as const),
)

test('there is an example of every kind', () => {
  const tried = new Set([...Object.keys(FAKES), ...KEEPING.map(([kind]) => kind)])
  expect([...tried].sort()).toEqual(KINDS)
})

describe('a secret of a known shape', () => {
  test.each(fakes)('is masked as %s: %s', (kind, secret) => {
    for (const [before, behind] of [
      ['', ''],
      ['KEY=', '\n'],
      ['{"key":"', '"}'],
      [String.raw`a\n`, String.raw`\nb`],
      ['?key%3D', '&x=1'],
      ['\u001b[31m', '\u001b[0m'],
      ['see (', ')'],
    ] as const) {
      expect(known.text(before + secret + behind)).toBe(`${before}[masked:${kind}]${behind}`)
    }
  })

  test.each(KEEPING)(
    'is masked as %s, and the text before it stays: %s',
    (kind, kept, secret, rest) => {
      expect(known.text(kept + secret + rest)).toBe(`${kept}[masked:${kind}]${rest}`)
    },
  )

  test('is masked wherever it occurs', () => {
    const text = fakes.map(([, secret]) => secret).join('\n')
    expect(known.text(text)).toBe(fakes.map(([kind]) => `[masked:${kind}]`).join('\n'))
  })

  test('may be a private key that is cut off', () => {
    const lines = pem('RSA ', 20).split('\n').slice(0, 5)
    expect(known.text(`${lines.join('\n')}\nAll tests passed`)).toBe(
      '[masked:private-key]\nAll tests passed',
    )
    expect(known.text(`${lines.join('\n').slice(0, -30)}`)).toBe('[masked:private-key]')
  })

  test('may be a private key whose lines begin with file names or the marks of a diff', () => {
    const lines = pem('', 6).split('\n')
    expect(known.text(lines.map((line, at) => `a/key.pem:${at}:${line}`).join('\n'))).toBe(
      'a/key.pem:0:[masked:private-key]',
    )
    expect(known.text(lines.map((line) => `+${line}`).join('\n'))).toBe('+[masked:private-key]')
  })
})

describe('what only looks like a secret', () => {
  test.each([
    'task-1234567890abcdef1234567890abcdef',
    'sk-estimator-container-with-a-long-name',
    'sk-toplevelcontainerelementsk',
    'ghp_tooShort',
    'glpat-short',
    'AKIAlowercase1234567',
    `x${'AKIA'}QQQQQQQQQQQQQQQQ`,
    'xoxb-your-token-goes-here',
    'npm_config_cache_min_is_a_setting_of_npm_and_no_token',
    'hf_hub_download(repo_id="google/fleurs", filename="fleurs.py")',
    'eyJhbGciOiJIUzI1NiJ9.not.a-token',
    'retrai_token',
    'http://localhost:3000/path?user=me@example.com',
    'http://localhost:3000?user=me@example.com',
    'https://user@example.com/',
    'git@github.com:owner/name.git',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: programs contain these
    'postgres://app:${DB_PASSWORD}@db/x',
    'postgres://app:$DB_PASSWORD@db/x',
    'postgres://app:{password}@db/x',
    'postgres://app:%s@db/x',
    'postgres://app:***@db/x',
    'Authorization: Bearer <token>',
    'Authorization: Bearer $TOKEN',
    'Authorization: Bearer token',
    'WWW-Authenticate: Bearer realm="retrai"',
    'x-api-key: required',
    'aws_secret_access_key = YOUR_KEY',
    'grep -rn "-----BEGIN RSA PRIVATE KEY-----" .\nnothing',
    'if s.startswith("-----BEGIN PRIVATE KEY-----") and s.endswith("-----END PRIVATE KEY-----"):',
    '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
    '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----',
    '550e8400-e29b-41d4-a716-446655440000',
    'sha512-9UyZKxQqGqYw3C9kFvXb2l1vQG3bUo5pVJ0kqvRr0cGm7y8V1mN2xW==',
    'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ',
  ])('stays: %s', (text) => {
    expect(known.text(text)).toBe(text)
  })

  test('is an id, a hash or a number', () => {
    const hex = fc.stringMatching(/^[0-9a-f]{64}$/)
    fc.assert(
      fc.property(
        fc.oneof(fc.uuid(), hex, fc.integer().map(String), fc.date().map(String)),
        (text) => {
          expect(known.text(text)).toBe(text)
        },
      ),
    )
  })
})

const OWN = [
  { name: 'OPENAI_API_KEY', value: 'Zq9-own.key_1' },
  { name: 'RETRAI_TOKEN', value: 'a token "with" \\ umläuten & + blanks%' },
  { name: 'EVENTSTORE_URL', value: 'changeit' },
  { name: 'RETRAI_LLM_API_KEY', value: 'Zq9-own.key_1-and-longer' },
]
const mask = createMask(OWN)
/** Every way in which a text may hold a secret, each with the parts that must not be left. */
const written: readonly ((value: string, pad: string) => string)[] = [
  (value) => value,
  (value) => JSON.stringify(value).slice(1, -1),
  (value) => encodeURIComponent(value),
  (value) => Buffer.from(value).toString('base64'),
  (value, pad) => Buffer.from(`${pad}${value}${pad}`).toString('base64'),
  (value, pad) => Buffer.from(`${pad}${value}`).toString('base64url'),
  (value) => Buffer.from(value).toString('hex'),
  (value, pad) => inLines(`${pad.repeat(50)}${value}${pad.repeat(60)}`, 76, '\n'),
  (value, pad) => inLines(`${pad.repeat(43)}${value}${pad.repeat(60)}`, 64, '\r\n'),
]

/** Base64 as programs write it: in lines of this width. */
const inLines = (text: string, width: number, lineBreak: string): string =>
  (
    Buffer.from(text)
      .toString('base64')
      .match(new RegExp(`.{1,${width}}`, 'g')) ?? []
  ).join(lineBreak)

describe("the server's own secret", () => {
  test.each(OWN)('is masked under its name: $name', ({ name, value }) => {
    expect(mask.text(`It is ${value}.`)).toBe(`It is [masked:${name}].`)
    for (const write of written) expect(mask.text(write(value, ''))).toMatch(`[masked:${name}]`)
  })

  test('is masked in Base64 too, at whatever byte it begins', () => {
    const secrets = ['Zq9-own.key_1', '!~0*7?"{}|\u007f\\#', '\u0000\u0001\u0010zQaB/+~^`@'].map(
      (value) => {
        return { name: 'A_KEY', value }
      },
    )
    for (const [before, behind] of [
      ['', ''],
      ['a', 'z'],
      ['bc', 'yx'],
      ['user:', '\n'],
      ['any', 'one'],
    ] as const) {
      const left = secrets.map((secret) => {
        const text = Buffer.from(before + secret.value + behind).toString('base64')
        return createMask([secret]).text(text)
      })
      // For secrets of one length the same text is left, so that text reveals nothing about them.
      expect(new Set(left).size, left.join('\n')).toBe(1)
    }
  })

  test.each([
    [76, '\n'],
    [76, '\r\n'],
    [64, '\n'],
  ])(
    'is masked in Base64 in lines of %i, at whatever byte it begins and wherever it is cut',
    (width, lineBreak) => {
      const value = 'Zq9-own.key_1-and-so-long-that-it-takes-more-than-one-line-of-Base64-in-a-file'
      const long = createMask([{ name: 'A_KEY', value }])
      for (let begin = 0; begin < 60; begin += 7) {
        const text = inLines(`${'x'.repeat(begin)}${value}${'y'.repeat(70)}`, width, lineBreak)
        const masked = long.text(text)
        expect(masked).toContain('[masked:A_KEY]')
        const left = Buffer.from(masked.replace('[masked:A_KEY]', ''), 'base64').toString('latin1')
        expect(left).not.toMatch(/own|key|long|more|than|line|file/)
        expect(long.lines(text).split('\n')).toHaveLength(text.split('\n').length)
        for (let cut = begin % 3; cut <= text.length; cut += 3) {
          expect(inPieces(long, text, [cut])).toBe(masked)
        }
      }
    },
  )

  test('holds back no line that is shorter than one of Base64', () => {
    const pieces = createMask([{ name: 'A_KEY', value: 'a-secret-of-the-server' }]).pieces()
    expect(pieces.write('ready YS1z\n')).toBe('ready YS1z\n')
  })

  test('is masked before known shapes are, so no shape can begin within it', () => {
    const url = 'postgres://app:ab/changeit@x:changeit@db'
    expect(mask.text(url)).not.toContain('change')
  })

  test('is not masked if it is short enough to be a word, or a part of a mask', () => {
    const weak = createMask([
      { name: 'A', value: 'test' },
      { name: 'B', value: 'github-token' },
      { name: 'C', value: 'masked:A' },
    ])
    expect(weak.text('a test of a github-token')).toBe('a test of a github-token')
  })
})

/** Text with secrets, pieces of secrets and other text, in any order. */
const fragment = fc.oneof(
  fc.constantFrom(
    ...fakes.map(([, secret]) => secret),
    ...KEEPING.flatMap((parts) => parts.slice(1)),
  ),
  fc.constantFrom(...OWN.flatMap(({ value }) => written.map((write) => write(value, 'q')))),
  fc
    .tuple(fc.constantFrom(...fakes.map(([, secret]) => secret)), fc.nat(), fc.nat())
    .map(([secret, from, to]) => secret.slice(from % secret.length, to % (secret.length + 1))),
  fc.constantFrom(
    '\n',
    ' ',
    '"',
    '://',
    'sk-',
    'eyJ',
    '-----BEGIN ',
    '@',
    '\\n',
    '%3D',
    '=',
    '-',
    '_',
  ),
  fc.string(),
)
const anyText = fc.array(fragment, { maxLength: 12 }).map((parts) => parts.join(''))

/** Masks a text in pieces that end at these places. */
function inPieces(by: Mask, text: string, cuts: readonly number[]): string {
  const pieces = by.pieces()
  const places = [...cuts.map((cut) => cut % (text.length + 1)), text.length].sort((a, b) => a - b)
  let at = 0
  let out = ''
  for (const place of places) {
    out += pieces.write(text.slice(at, place))
    at = place
  }
  return out + pieces.end()
}

describe('any text', () => {
  test('is masked the same in pieces as in one piece', () => {
    fc.assert(
      fc.property(anyText, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
        expect(inPieces(mask, text, cuts)).toBe(mask.text(text))
      }),
      { numRuns: 500 },
    )
  })

  test('reveals no secret of the server, wherever it is and however the text is cut', () => {
    const way = fc.constantFrom(...written)
    fc.assert(
      fc.property(
        anyText,
        anyText,
        fc.constantFrom(...OWN),
        way,
        fc.array(fc.nat(), { maxLength: 8 }),
        (before, behind, { value }, write, cuts) => {
          const planted = write(value, 'xy')
          const out = inPieces(mask, before + planted + behind, cuts)
          expect(out).not.toContain(planted)
          expect(out).not.toContain(value)
        },
      ),
      { numRuns: 400 },
    )
  })

  test('is not changed by masking it again', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const once = mask.text(text)
        expect(mask.text(once)).toBe(once)
      }),
      { numRuns: 500 },
    )
  })

  test('stays JSON of the same shape if it was JSON', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), anyText), (value) => {
        const parsed: unknown = JSON.parse(mask.text(JSON.stringify(value)))
        expect(Object.values(parsed ?? {})).toHaveLength(Object.values(value).length)
      }),
      { examples: [[{ key: `-----BEGIN PRIVATE KEY-----\\n${'MC4CAQAw'.repeat(8)}`, next: '' }]] },
    )
  })
})

describe('a text in pieces', () => {
  test('is not held back if it cannot become a secret', () => {
    const pieces = known.pieces()
    for (const piece of ['All tests ', 'passed: 42', '.', '\n', 'ok\n']) {
      expect(pieces.write(piece)).toBe(piece)
    }
  })

  test('is held back while it may become one', () => {
    const [secret = ''] = FAKES['github-token'] ?? []
    const pieces = mask.pieces()
    expect(pieces.write(`x ${secret.slice(0, 2)}`)).toBe('x ')
    expect(pieces.write(secret.slice(2, 20))).toBe('')
    expect(pieces.write(`${secret.slice(20)}\n`)).toBe('[masked:github-token]\n')
  })

  test('is masked and returned in time, even if it is one long line that may become a secret', () => {
    const [secret = ''] = FAKES['github-token'] ?? []
    const line = `://${'x'.repeat(99_990)}${secret}`
    const pieces = mask.pieces()
    let out = ''
    let held = 0
    for (let round = 0; round < 10; round += 1) {
      for (let at = 0; at < line.length; at += 1_000)
        out += pieces.write(line.slice(at, at + 1_000))
      held = Math.max(held, (round + 1) * line.length - out.length)
    }
    out += pieces.end()
    expect(out).toBe(mask.text(line.repeat(10)))
    expect(out).not.toContain(secret)
    expect(held).toBeLessThan(100_000)
  })

  test('loses the end that may be a part of a secret if it is cut off', () => {
    const [secret = ''] = FAKES['github-token'] ?? []
    const pieces = mask.pieces()
    const out = pieces.write(`the key is ${secret.slice(0, -5)}`) + pieces.cut()
    expect(out).toBe('the key is ')
  })
})

test.each([
  ['starts of URLs', '://'],
  ['URLs without an end', '://aaaaaaaa:bbbbbbbb'],
  ['starts of tokens', 'eyJ'],
  ['starts of tokens with dashes', '-eyJ'],
  ['tokens without an end', ' eyJaaaaaaaaaaaa.eyJaaaaaaaaaaaa'],
  ['starts of keys', 'sk-'],
  ['starts of keys in JSON', '\\nsk-ant-'],
  ['private keys without an end', '-----BEGIN PRIVATE KEY-----'],
  ['private keys without an end, and lines', `-----BEGIN PRIVATE KEY-----\n${'A'.repeat(64)}\n`],
  ['lines of Base64', `${'A'.repeat(64)}\n`],
  ['headers without a value', 'authorization: bearer '],
  ['names of settings', 'aws_secret_access_key    '],
  ['colours', '\u001b[0;0;0;0;0m'],
  ['blanks', ' '],
  ['beginnings of an own secret', 'Zq9-own.key_'],
])('the time to mask a text is proportional to its length: %s', (_, part) => {
  const textOf = (length: number) => part.repeat(Math.ceil(length / part.length))
  expectLinearTime(mask.text, textOf, 200_000)
})
