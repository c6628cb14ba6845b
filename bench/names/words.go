package names

import "strings"

var words = strings.Fields(`
able account action active ad admin adult agency air alarm album alert alpha
amber angle apple apply arc area arena arrow art asset atlas audience audio
auto autumn award baby back badge bag ball bamboo bank banner bar base basket
bay beach bean bear beauty bed bell best beta big bike bird black blast blaze
block blog bloom blue board boat body bolt bond bonus book boost border bot
bounce box brain brand brave bread breeze brick bridge bright bro brook buddy
build bull burn bus button buy buzz cable cake call camp candy car card care
cargo cart case cash cast castle cat cell center chain chair chance change
charm chart chat cheap check cherry chip choice city claim class clean clear
clever click client clinic clip clock cloud club coast code coffee coin cold
color comet common content cook cookie cool copper core corner count coupon
court cover craft crash cream credit creek crew cross crowd crown crypto
crystal cup curve cyber daily dance dark dash data date dawn day deal deck
deep delta dental depot design desk device dial diary digital dinner direct
dish disk doctor dog dollar door dot double down dragon dream dress drive drop
drum duck dust eagle early earth east easy echo edge egg elite email ember
engage engine engineer event ever exact expert express extra eye face fact
factory fair falcon fall family fan farm fashion fast feather feed field fig
film final find fine fire first fish fit flag flame flash fleet flex flight
floor flow flower fly focus folk food foot force forest forge form fort forum
fox frame free fresh friend frog front frost fruit fuel full fun fund fusion
future gain galaxy game garage garden gate gear gem general ghost giant gift
girl glass global globe glory goal gold good grand grape graph grass gray
great green grid group grow guard guest guide guru habit hand happy harbor
hat haven hawk head health heart heat help herb hero hill hint hit hobby
holiday home honey hope horizon horse host hot hotel hour house hub human
hunt ice icon idea image impact income index info ink inn insight instant iron
island item jet jewel job join journal joy juice jump junior just keen key
kid king kit kitchen lab lake lamp land laser launch law lead leaf league
learn legal lemon lens level life lift light lime limit line link lion list
little live loan local lock loft log logic long loop lotus love loyal luck
luna lux magic magnet mail main maker mango map maple mark market mart mask
master match matrix max media meet mega memo menu mercy merge metal meter
micro mile milk mill mind mine mini mint mirror mobile mode modern moment
money monkey moon more motion motor mountain mouse move movie music must my
name nano native nature near neat nerve nest net neuro new news nice night
ninja noble node north note nova now number oak object ocean office offer oil
olive one online open opera orange orbit order origin outlet oven owl own pace
pack page paint palm panda panel paper park part party pass path pay peach
peak pearl pen people pepper perfect pet phone photo piano pick pilot pine
pink pipe pixel pizza place plan planet plant play plaza plus pocket poet
point polar pool pop port post power press price pride prime print prize pro
profit promo proof pulse pump pure purple push puzzle quality queen quest
quick quiet race radar radio rain ranch range rank rapid rate raven ray reach
reader ready real red reef relay rent reply report rest result retro review
reward rice rich ride right ring rise river road robot rock rocket roof room
root rose round route royal ruby run rush sack safe saga sage sail sale salt
sand save scale scan school scope score scout screen script sea search season
seat second secret seed select sense server service seven shadow shape share
shark sharp sheet shell shield shift shine ship shirt shoe shop short show
side sign signal silk silver simple single site six sketch skill skin sky
sleep slide slim slot smart smile smoke smooth snap snow social soft solar
solid song sonic sound soup source south space spark speed spice spin spirit
splash sport spot spring square staff stage stamp star start state station
stay steam steel step stock stone stop store storm story strategy straw stream
street strong studio style sugar suite summer sun super sure surf survey sweet
swift switch system table tag tail talent talk target task taste taxi tea
team tech temple ten test text theme thing think thunder tick ticket tide
tiger tile time tip titan title today token tone tool top torch total touch
tour tower town toy trace track trade trail train travel treat tree trend
trial tribe trick trip true trust try tube tune turbo turn twin type ultra
union unit up urban user valley value vault vector velvet venture verse video
view villa vine vip vision visit vista vital vivid voice volt vote wagon walk
wall wander wave way wealth wear web week well west whale wheel white wide wild
win wind window wine wing winter wire wise wish wolf wonder wood word work
world wow yard year yellow yes yoga young youth zap zen zero zone zoo zoom
`)

// hosts are first labels, roughly by how often they are met.
var hosts = strings.Fields(`
go smetrics analytics www2 info metrics ads stats tracking www app marketing
tr sgtm link track matomo ad sentry trk t log images plausible a s static share
xml cdn tracker data l secure api refer stat links content telemetry pardot
filter events gtm login adserver connect get m piwik web engage click event
pixel collector news logs lp email sp www3 pages c id beacon p b d e g i n o
r v x y img video media assets edge config settings update device report crash
diag push notify sdk dc ingest collect count hits rum insight insights tag tags
target audience sync match bid rtb ssp dsp adx banner promo offers deals mail
smtp mx ns1 ns2 vpn proxy gw us eu asia cn jp de uk fr na apac east west north
beta dev test stage prod int ext auth sso account user profile feed search
graph query rest v1 v2 v3 eu-west-1 us-east-1 ap-south-1 s3 storage files
download upload cloud mobile android ios tv iot home hub smart weather music
store shop pay cart checkout help support forum blog wiki docs status monitor
`)

var onsets = strings.Fields(`b br c ch cl cr d dr f fl fr g gl gr h j k kr l m
n p ph pl pr qu r s sc sh sk sl sm sn sp st str t th tr v w x y z`)

var nuclei = strings.Fields(`a a a e e e i i i o o u u ai ea ee ia io oo ou y`)

const codas = "nrstlmdkxpbg"

// endings are public suffixes by how often they are met.
var endings = []struct {
	name   string
	weight int
}{
	{"com", 5300}, {"net", 500}, {"io", 200}, {"de", 205}, {"org", 200},
	{"top", 190}, {"xyz", 140}, {"ru", 133}, {"pro", 110}, {"beer", 108},
	{"shop", 108}, {"fr", 104}, {"info", 96}, {"cn", 76}, {"co.jp", 73},
	{"jp", 70}, {"online", 86}, {"co.uk", 65}, {"site", 67}, {"icu", 62},
	{"app", 59}, {"cfd", 56}, {"space", 54}, {"com.au", 47}, {"click", 54},
	{"co", 50}, {"store", 47}, {"cyou", 47}, {"website", 45}, {"nl", 38},
	{"pl", 37}, {"it", 36}, {"live", 36}, {"ca", 33}, {"me", 29}, {"se", 28},
	{"ai", 26}, {"es", 25}, {"biz", 25}, {"sbs", 25}, {"cc", 25}, {"in", 20},
	{"com.br", 22}, {"eu", 24}, {"vn", 20}, {"rest", 21}, {"link", 20},
	{"tv", 20}, {"ch", 20}, {"at", 19}, {"help", 19}, {"digital", 18},
	{"life", 18}, {"dev", 18}, {"be", 17}, {"us", 16}, {"club", 16},
	{"world", 16}, {"vip", 16}, {"com.cn", 16}, {"co.kr", 12}, {"co.nz", 7},
	{"com.tr", 6}, {"co.za", 6}, {"com.ua", 5}, {"co.in", 5}, {"dk", 15},
	{"no", 13}, {"fi", 12}, {"cz", 14}, {"ro", 11}, {"hu", 9}, {"gr", 9},
	{"pt", 8}, {"kr", 8}, {"tw", 7}, {"id", 7}, {"ir", 7}, {"mobi", 6},
	{"fun", 14}, {"today", 9}, {"lol", 9}, {"bond", 8}, {"monster", 7},
	{"stream", 5}, {"agency", 5}, {"global", 5}, {"solutions", 3},
}

var endingsTotal = func() (sum int) {
	for _, e := range endings {
		sum += e.weight
	}
	return sum
}()
