//go:build !small

package kinds

import _ "embed"

//go:embed forms.txt
var forms string
