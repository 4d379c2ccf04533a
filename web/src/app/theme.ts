import { createTheme, type MantineColorsTuple } from '@mantine/core'

/** Warm greys; `ink[9]` is a button on paper, `ink[0]` one in the dark. */
const ink: MantineColorsTuple = [
  '#f3f0ea',
  '#e5e1d8',
  '#cfc9bd',
  '#b3ac9e',
  '#8a8477',
  '#6b665c',
  '#4f4b43',
  '#37342e',
  '#262420',
  '#1b1a17',
]

export const theme = createTheme({
  colors: { ink },
  primaryColor: 'ink',
  primaryShade: { light: 9, dark: 0 },
  autoContrast: true,
  fontFamily: 'var(--font)',
  fontFamilyMonospace: 'var(--mono)',
  headings: { fontFamily: 'var(--font)', fontWeight: '600' },
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Tooltip: { defaultProps: { openDelay: 350, withArrow: true } },
    Modal: { defaultProps: { radius: 'lg', overlayProps: { backgroundOpacity: 0.45, blur: 2 } } },
    Button: { defaultProps: { size: 'sm' } },
  },
})
