/** Texts with the shape of secrets. They are put together here, so that no scanner reports this file as a leak. */
const A = 'Ab3dEf6hIj9lMn2pQr5tUv8xYz1'
const long = (length: number): string => A.repeat(Math.ceil(length / A.length)).slice(0, length)
const digits = (length: number): string => '8274019365'.repeat(9).slice(0, length)
const hexOf = (length: number): string => 'b7f04c19'.repeat(9).slice(0, length)
const upper = (length: number): string => 'Q7ZRT4WXK2MNB5PLJH3G'.repeat(4).slice(0, length)
const join = (...parts: readonly string[]): string => parts.join('')

const PEM_LINE = `${long(63)}=`
export const pem = (type: string, lines = 3): string =>
  [
    join('-----BEGIN ', type, 'PRIVATE KEY-----'),
    ...new Array(lines).fill(PEM_LINE),
    join('-----END ', type, 'PRIVATE KEY-----'),
  ].join('\n')

/** Examples of each kind of secret. */
export const FAKES: Readonly<Record<string, readonly string[]>> = {
  'retrai-token': [join('retrai', '_', long(43))],
  'aws-access-key': [join('AK', 'IA', upper(16)), join('AS', 'IA', upper(16))],
  'github-token': [
    ...['ghp', 'gho', 'ghu', 'ghs', 'ghr'].map((prefix) => join(prefix, '_', long(36))),
    join('github_', 'pat_', long(22), '_', long(59)),
    join('ghs', '_', digits(6), '_eyJ', long(30), '.eyJ', long(60), '.', long(43)),
  ],
  'gitlab-token': [join('glp', 'at-', long(20)), join('gld', 't-', long(24))],
  'slack-token': [
    join('xo', 'xb-', digits(12), '-', digits(12), '-', long(24)),
    join('xa', 'pp-1-', upper(11), '-', digits(12), '-', hexOf(40)),
  ],
  'anthropic-key': [join('sk', '-ant-api03-', long(40), '-', long(40), 'AA')],
  'openai-key': [
    join('sk', '-', long(48)),
    join('sk', '-proj-', long(60), '_', long(30)),
    join('sk', '-or-v1-', hexOf(64)),
  ],
  'google-key': [join('AI', 'za', long(35))],
  'google-oauth-token': [join('ya', '29.', long(60)), join('GOC', 'SPX-', long(28))],
  'stripe-key': [
    join('sk', '_live_', long(24)),
    join('rk', '_live_', long(24)),
    join('sk', '_test_', long(24)),
    join('wh', 'sec_', long(32)),
  ],
  'npm-token': [join('np', 'm_', long(36))],
  'pypi-token': [join('py', 'pi-AgEIcHlwaS5vcmc', long(80))],
  'huggingface-token': [join('h', 'f_', long(34))],
  'groq-key': [join('gs', 'k_', long(52))],
  'xai-key': [join('xa', 'i-', long(80))],
  'perplexity-key': [join('pp', 'lx-', long(48))],
  'sendgrid-key': [join('S', 'G.', long(22), '.', long(43))],
  'digitalocean-token': [join('do', 'p_v1_', hexOf(64))],
  'docker-token': [join('dckr', '_pat_', long(27))],
  'vault-token': [join('hv', 's.', long(90))],
  'age-key': [join('AGE-SECRET', '-KEY-1', upper(58))],
  jwt: [join('ey', 'J', long(33), '.', 'ey', 'J', long(70), '.', long(43))],
  'private-key': [
    pem(''),
    pem('RSA ', 12),
    pem('OPENSSH ').replaceAll('\n', '\r\n'),
    JSON.stringify(pem('EC ')).slice(1, -1),
    join('MC4CAQAwBQYDK2VwBCIEI', long(43)),
    join(
      '-----BEGIN PGP ',
      'PRIVATE KEY BLOCK-----\n\n',
      PEM_LINE,
      '\n-----END PGP PRIVATE KEY BLOCK-----',
    ),
  ],
}

/** Secrets with a beginning that stays readable: the kind, that beginning, the secret, and the text after it. */
export const KEEPING: readonly (readonly [
  kind: string,
  kept: string,
  secret: string,
  rest: string,
])[] = [
  ['url-password', 'postgres://app:', 'hunter2&more', '@db/x'],
  ['url-password', 'https://x-access-token:', long(40), '@github.com/a/b.git'],
  ['url-password', 'redis://:', long(12), '@cache:6379'],
  ['url-password', String.raw`"amqp:\/\/guest:`, 'guest', String.raw`@mq\/"`],
  ['authorization', 'Authorization: Bearer ', long(24), '\r\n'],
  ['authorization', 'authorization: basic ', 'dXNlcjpwYXNz', ''],
  ['authorization', '{"Authorization": "Bearer ', long(24), '"}'],
  ['authorization', String.raw`-d "{\"authorization\":\"token `, long(24), String.raw`\"}"`],
  ['api-key-header', "-H 'x-api-key: ", long(24), "'"],
  ['aws-secret-key', 'aws_secret_access_key = ', long(40), '\n'],
  ['aws-secret-key', '"SecretAccessKey": "', long(40), '"'],
  ['aws-secret-key', 'export AWS_SECRET_ACCESS_KEY=', long(40), ' && aws s3 ls'],
  [
    'slack-webhook',
    'https://hooks.slack.com/services/',
    join('T', upper(8), '/B', upper(8), '/', long(24)),
    ' ',
  ],
  ['azure-key', 'AccountName=a;AccountKey=', long(86), '==;'],
]
