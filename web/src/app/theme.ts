import {
  createTheme,
  defaultVariantColorsResolver,
  type MantineColorsTuple,
  type VariantColorsResolver,
} from '@mantine/core'

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

/** The greys of the components in the dark, from text to ground. */
const dark: MantineColorsTuple = [
  '#f3f0ea',
  '#c0bab0',
  '#9c968a',
  '#6b665c',
  '#47443d',
  '#2f2d29',
  '#21201d',
  '#1a1917',
  '#121110',
  '#0c0c0b',
]

/** A filled button is ink on paper, in the dark as in the light. */
const variantColorResolver: VariantColorsResolver = (input) =>
  input.variant === 'filled' && (input.color ?? 'ink') === 'ink'
    ? { background: 'var(--ink)', hover: 'var(--ink-2)', color: 'var(--bg)', border: 'none' }
    : defaultVariantColorsResolver(input)

export const theme = createTheme({
  colors: { ink, dark },
  variantColorResolver,
  primaryColor: 'ink',
  primaryShade: { light: 9, dark: 0 },
  fontFamily: 'var(--font)',
  fontFamilyMonospace: 'var(--mono)',
  headings: { fontFamily: 'var(--font)', fontWeight: '600' },
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Tooltip: { defaultProps: { openDelay: 350, withArrow: true } },
    Modal: {
      defaultProps: {
        radius: 'lg',
        padding: 'lg',
        classNames: { title: 'dialog-title' },
        // A `<header>` would be a second banner of the page.
        attributes: { header: { role: 'none' } },
        closeButtonProps: { 'aria-label': 'Close' },
        overlayProps: { backgroundOpacity: 0.45, blur: 2 },
      },
    },
    Notification: { defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } },
    // In the dark, a box that is checked is light.
    Checkbox: { defaultProps: { iconColor: 'var(--bg)' } },
    Button: { defaultProps: { size: 'sm' } },
  },
})
